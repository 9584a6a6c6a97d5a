/*
 * value.h
 *		One column value: from a datum to the wire and back.
 *
 * The form is chosen by the type, and by what was negotiated:
 *
 * - WIRE_INTERNAL for built-in base types, built-in ranges and arrays of built-in types, if both
 *   servers have the same major version, byte order and layout.
 * - WIRE_BINARY for other built-in types, and for enums and base types of extensions that have send
 *   and receive functions.
 * - WIRE_TEXT for all other types (composites, arrays of user types, ...), with the same text under
 *   all settings.
 *
 * Domains are written as their base types. WIRE_INTERNAL never contains an OID of a user's object.
 */
#ifndef REPLICATION_PLUGIN_VALUE_H
#define REPLICATION_PLUGIN_VALUE_H

#include "fmgr.h"

#include "wire/wire.h"

/* How values of a column's type are written; made once per relation. */
typedef struct ValueWriter
{
	Oid			typid;
	WireKind	kind;
	int16		typlen;
	bool		typbyval;
	FmgrInfo	out;			/* typsend or typoutput, for WIRE_BINARY and WIRE_TEXT */
} ValueWriter;

/*
 * Prepares to write a type. internal: the reader's layout allows WIRE_INTERNAL. Memory is allocated
 * in CurrentMemoryContext.
 */
extern void value_writer_init(ValueWriter *w, Oid typid, bool internal);

/*
 * Appends one value that is not null. A varlena is detoasted, so an unsent value must not be
 * passed.
 */
extern void value_write(StringInfo out, ValueWriter *w, Datum value);

/*
 * How arriving values are converted to datums of a local column; made once per pair of relations.
 */
typedef struct ValueReader
{
	MemoryContext context;		/* of the data that the functions below cache */
	Oid			typid;			/* local type; for a domain, its base type */
	int32		typmod;			/* local typmod */
	Oid			domain;			/* domain whose constraints are checked; InvalidOid: none */
	void	   *domain_checks;	/* cache of that check */
	bool		names_objects;	/* the text form names objects */
	/* reading can run code of users, and needs a row session (base/session.h) */
	bool		runs_code;
	int16		typlen;
	bool		typbyval;
	/* the remote type is the same type: internal and binary forms fit */
	bool		direct;
	/* for conversion if not direct; InvalidOid: unknown on this node */
	Oid			remote_typid;
	Oid			typioparam;
	Oid			remote_typioparam;
	int16		remote_typlen;
	bool		remote_typbyval;
	FmgrInfo	recv;			/* looked up at first use (fn_oid is invalid until then) */
	FmgrInfo	in;
	FmgrInfo	remote_recv;
	FmgrInfo	remote_out;
	bool		cast_looked_up;
	/* cast from the remote type, between numbers; fn_oid invalid: convert through text */
	FmgrInfo	cast;
} ValueReader;

/*
 * Prepares for values of a remote attribute that go into a local column of type typid, typmod.
 * "direct" is set if the types are the same (built-in types: same OID; others: same schema and
 * name) and the local typmod is -1 or equal.
 */
extern void value_reader_init(ValueReader *r, const WireAttribute *remote, Oid typid, int32 typmod);

/*
 * Returns the datum; a by-reference one is aligned and allocated in CurrentMemoryContext. Must not
 * be called for WIRE_NULL, WIRE_UNCHANGED and WIRE_AWAITED. Raises an ordinary data error if the
 * value does not fit the local type, and ERRCODE_PROTOCOL_VIOLATION if a length is wrong.
 */
extern Datum value_read(ValueReader *r, const WireColumn *c);

/* Turns checks and conversion off, for values that this server itself has checked and written. */
extern void value_reader_trust(ValueReader *r);

/*
 * Returns this server's layout, which a subscriber sends and the provider compares: major version,
 * byte order, alignment, float and datum sizes, for example "15/le/8/8/64/float". The text is
 * static.
 */
extern const char *value_layout(void);

#endif							/* REPLICATION_PLUGIN_VALUE_H */
