"""Real faults in real processes: nights of the simulation's four jobs on this machine's files and a real Postgres.

`python -m tests.crashes sweep FILE` goes through the cases; FILE remembers them, so a stopped sweep goes on. Begin at
`home`.

    home      nights in child processes, the invariants, the bytes of the undisturbed nights
    cases     which fault: a named point x {SIGKILL, exception, full disk}, the Nth system call by strace
    sweep     case after case: hurt, judge before the recovery, recover, judge
    clock     `fpm schedule` in processes: several at once, and a database that is stopped in mid-night
"""
