//! Stage order, linking, bundles, and tests on each target.
