"""`sonoseg segment ARCHIVE`: any number of images, in shards that workers share, with one table as the result."""
