"""`swellmq bench`: measures brokers beside each other, each as a process of its own on a core of its own.

A sub-command is a module of this package with `add_arguments(parser)` and `run(arguments) -> int`, the exit code;
`cli/bench.py` imports it when it is chosen. They share:

    machine.py    cores, open files, what the machine is called
    brokers.py    brokers as processes: found by name or command, started, pinned, measured, stopped
    generator.py  packets and connections; scenarios.py says who publishes what to whom, flow.py does it and counts what
                  arrives, bursts.py has connects and retained replay, latency.py percentiles
    measure.py    one run against a fresh process: CPU time for each message, and who was the limit
    crowd.py      a publisher at full speed and its subscribers, for fairness.py
    pinger.py     QoS 0 from a client to itself, for durable.py
    stage.py      a broker with a fleet of clients that are only there: fleet.py over TCP, memory_transport.py without
    worker.py     helper processes, told by lines what to do; obey.py is their side
    report.py     the options that all have, Markdown tables, JSON
    progress.py   how far it is;  charts.py draws

Nothing here is compiled or known to the broker, and nothing here measures itself: a figure is the broker's CPU time,
memory or answer, taken from outside.
"""


class BenchError(Exception):
    """What stops a measurement: said in one sentence, with the remedy where there is one."""
