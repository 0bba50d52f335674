"""Rate rules of the library as lateral synapses of rate units in Brian2."""
