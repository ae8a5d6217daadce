//! Which of our verdicts a frame gets: the one decoder of the XDP program and of user space.
