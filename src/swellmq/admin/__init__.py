"""Admin: health, metrics, a JSON API and a page, over HTTP.

`host.py` joins it to a broker; `engine.py` speaks HTTP; `route.py` finds who answers a request; `api/` has those who
answer, a file for each subject. It is imported only where `admin` is set, and nothing here is compiled.
"""
