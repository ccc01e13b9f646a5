"""Other people's layouts: how each is written from shards, and how videos are found and read in them."""
