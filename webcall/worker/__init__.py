"""The process that runs assistants in rooms: `python -m webcall.worker start`, extra `[worker]`.

It takes the jobs that the service dispatches and reads all it needs from their metadata: no database,
no plugin. `call` is one call from its job to its end, in the order one reads it.
"""
