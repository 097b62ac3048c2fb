#!/usr/bin/env python3
"""Runs a program on a terminal of its own and writes what it said there to standard output, as bytes.

terminal.py COLUMNS PROGRAM ARGUMENTS...     COLUMNS: the terminal's width; 0: it does not say

Standard output and standard error of the program are the terminal, standard input is empty. The exit status is the
program's.
"""
import fcntl
import os
import pty
import struct
import sys
import termios

columns = int(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    try:
        said = os.read(terminal, 65536)
    except OSError:  # Linux says so when the program has ended
        said = b""
    if not said:
        break
    sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
