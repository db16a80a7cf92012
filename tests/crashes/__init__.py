"""Real faults in real processes: nights of the simulation's four jobs on this machine's files and a real Postgres.

`python -m tests.crashes sweep FILE` goes through the cases; FILE remembers them, so a stopped sweep goes on. Begin at
`home`.

    home        nights in child processes, the invariants, the bytes of the undisturbed nights
    cases       which fault: a named point x {SIGKILL, exception, full disk}, the Nth system call by strace, the Nth
                question to the database, a disk with room for N pages
    proxy       a TCP proxy before the database: lines that are cut before or after COMMIT, silent, late
    small_disk  a tmpfs with so many free pages
    sweep       case after case: hurt, judge before the recovery, recover, judge
    clock       `fpm schedule` in processes: several at once, and a database that is stopped in mid-night
    jumps       `fpm schedule` under a clock that jumps, by libfaketime
"""
