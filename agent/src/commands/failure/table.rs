//! The one table from the errors of the rooms to the classes that Ironic sees. One section per
//! room; every match is exhaustive, so a new error must say what Ironic sees of it.
