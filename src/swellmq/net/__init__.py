"""The only system calls: the loop, its listeners, and the pool that every connection comes from."""
