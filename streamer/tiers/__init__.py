"""The hops that weights take, one file each: host cache, staging buffers, upload, arena."""
