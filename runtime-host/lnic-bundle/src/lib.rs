//! The bundle: manifest and artifacts, read as hostile input.
