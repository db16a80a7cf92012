"""One integer is one week of nights: the real ledger, lake, publication and schedule in a world that a seed deals.

`python -m tests.simulation SEED` replays a week step by step. Begin at `week`.

    week        the scenario, its actors, a disturbed week and the bytes of the undisturbed one
    actors      who runs: schedulers, deliverer, backfill, reader, a stranger with another database
    turns       actors as threads of which one runs at a time
    double      the world's double: when which fault comes
    disk        files that remember what was not forced to the disk
    database    connections that are refused, cut, late, or outlive their client
    invariants  what holds after every step, and at the end
    owners      no partition has two owners
    mutations   planted faults, each to be found
    jobs        four cheap jobs: hashes of their inputs
    sweep       many seeds, resumable
"""
