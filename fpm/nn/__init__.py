"""What both models share: the training loop and what it runs on.

Begin at `fit`.

    fit          the one training loop
    checkpoint   weights and training checkpoints as safetensors, never pickle
    compute      device and precision
    distributed  one training in several processes
    threads      independent batches on several threads, with the bits of one
    machine      the libraries and the processor that a model was trained with

Imports: fpm.
"""
