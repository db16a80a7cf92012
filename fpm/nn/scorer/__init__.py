"""The scorer: dual-stream GRUs, with K seeds in one batched pass.

Begin at `network`, then `streams`.

    network  configuration, streams and fusion
    fusion   shares of the streams in a stacked dual score
    gru      the recurrence of K GRUs side by side
    losses   rank and regression losses of one session
    panel    the scorer's data in memory, read through windows
    streams  the three streams of one scorer: training, storage, scores
    minute_gru a peer that reads the bars themselves

Imports: fpm, fpm.nn.
"""
