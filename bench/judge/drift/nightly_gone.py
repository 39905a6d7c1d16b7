"""Tonight among the nights before it: which cases matter, which series they are, what is measured again.

``plan`` chooses the cases, ``parts`` makes the fingerprint, ``series`` turns a run into samples, ``past`` is what
the history said when the run began, ``judging`` compares the two. Only ``night``, the beginning and the end of a
run, touches the history; the rest is a function of the run folder: a night can be judged again anywhere.
"""
