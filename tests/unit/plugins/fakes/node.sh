#!/bin/sh
# A stand-in for Node, which is asked for its version alone.
echo v20.0.0
