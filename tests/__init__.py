"""The tests; those of a module stand in the file of its name."""

import os
import signal
import sys
import threading

# The sources are compiled once, not by each of the hundreds of processes that tests start, also where the environment
# forbids it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A suite that is started in the background inherits that ^C is ignored, and so would the programs that tests interrupt.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
