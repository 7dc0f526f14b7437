//! The stream between control plane and node, with the node played by the test.
