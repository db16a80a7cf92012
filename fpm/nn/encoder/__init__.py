"""The encoder: a symbol's session in, a fingerprint of 128 numbers out.

Begin at `network`, then `pretraining`.

    network       the Transformer
    tokens        minutes as tokens
    masking       what pre-training hides from the encoder
    pretraining   the two tasks and the training
    regularizers  three penalties that keep vectors apart
    history       the sessions of a training, read one by one
    batches       batches of mixed sessions
    collapse      diagnostics of a set of fingerprints, and the gate
    baselines     the untrained encoder and principal components
    alignment     rotation of one vintage's space onto another's
    canaries      fixed symbol-sessions that are embedded again at every run
    vintage       a trained encoder as it is stored and used
    occlusion     what a fingerprint rests on
    dictionary    directions of the space in words

Imports: fpm, fpm.nn.
"""
