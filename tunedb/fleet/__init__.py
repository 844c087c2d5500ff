"""Many problems on many devices: on every GPU of a host, or on the workers of an engine such as Dask."""
