"""The models of the PaLM paper (Chowdhery et al., 2022), from a toy that learns on one core to 540 billion parameters.

sizes        what a model is made of, and how many parameters it has
model        the model and its loss
optimizer    Adafactor without factoring, with the paper's schedules
train        the train step, and training from any step on
utilisation  which share of its peak the hardware spends on a model
data         a text as bytes, and the batch of every step
sharding     how a model is divided within an island
spikes       which batches to leave out after the loss has jumped
run          training with checkpoints: going on after a stop, going back before a spike
hashes       what tells whether two states have the same bits
toy          the job of the toy
large        the jobs of the paper's sizes: shapes, no arrays
pods         the largest on two TPU pods, compiled for them, and compared with the paper
"""
