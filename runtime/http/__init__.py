"""The HTTP of a worker: health, metrics, commands, jobs and documents, started first and stopped last.

    socket ─▶ uvicorn ─▶ gate (who may ask what) ─▶ Litestar ─▶ worker

Only `server` and `listen` are imported before the server starts: Litestar and uvicorn cost half a second.
"""
