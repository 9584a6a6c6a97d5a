/*
 * protocol.h
 *		The version of the extension, and the protocols that its library reads and writes.
 *
 * A file that depends on these numbers includes this header itself, and no other header does: the
 * tests build a pretended next version by compiling only the files that include it anew, with
 * REPLICATION_PLUGIN_NEXT, which is the number of versions after this one.
 */
#ifndef REPLICATION_PLUGIN_PROTOCOL_H
#define REPLICATION_PLUGIN_PROTOCOL_H

/*
 * EXTENSION_VERSION is the version of the SQL for this library, as in the Makefile. A library reads
 * and writes the protocols from WIRE_PROTOCOL_OLDEST to WIRE_PROTOCOL_VERSION: its own, and that of
 * the version before (docs/protocol.md, Versions). SQL has these by this_library().
 */
#ifndef REPLICATION_PLUGIN_NEXT
#define EXTENSION_VERSION		"1.1"
#define WIRE_PROTOCOL_VERSION	5
#define WIRE_PROTOCOL_OLDEST	5
#elif REPLICATION_PLUGIN_NEXT == 1
#define EXTENSION_VERSION		"1.2"
#define WIRE_PROTOCOL_VERSION	6
#define WIRE_PROTOCOL_OLDEST	5
#else
#define EXTENSION_VERSION		"1.3"
#define WIRE_PROTOCOL_VERSION	7
#define WIRE_PROTOCOL_OLDEST	6
#endif

/* The protocol of a group that has agreed on none: that of version 1.1. */
#define WIRE_PROTOCOL_FIRST		5

#endif							/* REPLICATION_PLUGIN_PROTOCOL_H */
