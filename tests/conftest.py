"""What holds for every test."""

import signal

# A shell starts background jobs with SIGINT ignored, and they hand that on to what they start; the
# tests of Ctrl-C need it as a terminal gives it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
