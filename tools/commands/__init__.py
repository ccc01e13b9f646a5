"""The work behind the commands render, train, infer and scenes."""
