"""Real services for the tests: search engines and Redis, found, started, and stopped again.

Nothing here knows what slimrank does with them. `engine.py` decides where an engine comes from; `maven.py` lays one
out from Maven artifacts; `process.py` starts and stops a server; `require.py` says what to do without one.
"""
