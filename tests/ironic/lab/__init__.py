"""A bare metal laboratory on one machine: an unmodified Ironic, a Redfish BMC, a virtual
machine, a web server for images, and the eyes to look at all of it from outside."""
