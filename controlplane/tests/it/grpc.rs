//! The gRPC door: the same rules, typed.
