"""Small networks: many cells on all cores, and one alone, beside the usual loop."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import torch
from torch.optim import Adam

import autosparse as asp
from autosparse.training.loop import train
from benchmarks.harness import Comparison, Options, side_by_side
from benchmarks.usual_loop import loader, train_epoch
