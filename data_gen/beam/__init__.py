"""The same run on Apache Beam, over many machines."""
