"""Does an artifact compute what its reference computes?"""
