//! The host worker: UDP and HTTP front doors, service clients, metrics.
