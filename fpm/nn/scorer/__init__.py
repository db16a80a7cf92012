"""The scorer: dual-stream GRUs, K seeds in one batched pass.

Begin at `network`, then `streams`.

    network  configuration, streams and fusion
    gru      the recurrence of K GRUs side by side
    losses   rank and regression losses of one session
    panel    resident data read through windows
    streams  the three streams of one scorer, trained and asked for scores

Imports: fpm, fpm.nn.
"""
