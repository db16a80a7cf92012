"""The encoder: a symbol's session in, a fingerprint of 128 numbers out.

Begin at `network`, then `pretraining`.

    network       the Transformer
    tokens        minutes as tokens
    masking       the flows that pre-training hides from the encoder
    pretraining   the two tasks and the training
    regularizers  three penalties that keep vectors apart
    history       the sessions of a training, read one at a time
    batches       batches of mixed sessions
    collapse      figures of a set of fingerprints, and the gate against collapse
    baselines     the untrained encoder and principal components
    alignment     rotation of one vintage's space onto another's
    canaries      stored symbol-sessions that every run embeds again
    vintage       a trained encoder as it is stored and used
    occlusion     the parts of a session that a fingerprint depends on
    dictionary    the statistic behind each direction of the space

Imports: fpm, fpm.nn.
"""
