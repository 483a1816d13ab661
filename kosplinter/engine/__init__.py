"""One way from texts to ranked answers, whatever computes the scores: input checked, windows, documents as one."""
