"""What may a file, a site or a name do that somebody else has made? Texts, archives, words: read within limits."""
