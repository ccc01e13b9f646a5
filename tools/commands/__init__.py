"""What the commands render, train, infer and scenes do."""
