"""Networks that grow where the Hilbert gradient tells them to (METHOD section 4).

The function and its energy stay as they are; the tangent space grows by exactly the chosen functions.
"""

from .dictionary import Dictionary, Site, candidate_vectors, dictionary, sites
from .growth import Growth, grow, insert, seedling
from .selection import Neuron, matching_pursuit
from .settings import Expansion

__all__ = ["Dictionary", "Expansion", "Growth", "Neuron", "Site", "candidate_vectors", "dictionary", "grow", "insert",
           "matching_pursuit", "seedling", "sites"]
