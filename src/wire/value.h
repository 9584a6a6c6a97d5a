/*
 * value.h
 *		One column value: datum to wire and back.
 *
 * Writing chooses by the type (and by what was negotiated):
 *	- WIRE_INTERNAL for built-in base types, built-in ranges and arrays of built-in
 *	  types, when both servers have the same major version, byte order and layout;
 *	- WIRE_BINARY for other built-in types, and for enums and base types of
 *	  extensions that have send and receive functions;
 *	- WIRE_TEXT for the rest (composites, arrays of user types, ...), the same under all settings.
 * Domains are written as their base types.
 * WIRE_INTERNAL never holds an oid of a user's object.
 */
#ifndef REPLICATION_PLUGIN_VALUE_H
#define REPLICATION_PLUGIN_VALUE_H

#include "fmgr.h"

#include "wire/wire.h"

/* Per column, built once per relation: how values of the type are written. */
typedef struct ValueWriter
{
	Oid			typid;
	WireKind	kind;
	int16		typlen;
	bool		typbyval;
	FmgrInfo	out;			/* typsend or typoutput, for WIRE_BINARY and WIRE_TEXT */
} ValueWriter;

/* internal: whether the reader's layout allows WIRE_INTERNAL. Memory: CurrentMemoryContext. */
extern void value_writer_init(ValueWriter *w, Oid typid, bool internal);

/* Appends one non-null value. A varlena is detoasted (never pass an external unchanged value). */
extern void value_write(StringInfo out, ValueWriter *w, Datum value);

/*
 * Per column, built once per relation pair: how arriving values become datums of the local column.
 */
typedef struct ValueReader
{
	MemoryContext context;		/* in which the functions below keep what they remember */
	Oid			typid;			/* local type; of a domain its base type */
	int32		typmod;			/* local typmod */
	Oid			domain;			/* whose constraints are checked; InvalidOid: none */
	void	   *domain_checks;	/* what checking them remembers */
	bool		names_objects;	/* its text names objects */
	/* reading can run functions of users: only in a row session (base/session.h) */
	bool		runs_code;
	int16		typlen;
	bool		typbyval;
	/* the remote type is the same type: internal and binary forms fit */
	bool		direct;
	/* for conversion by way of text when not direct; InvalidOid if unknown here */
	Oid			remote_typid;
	Oid			typioparam;
	Oid			remote_typioparam;
	int16		remote_typlen;
	bool		remote_typbyval;
	FmgrInfo	recv;			/* looked up on first use (fn_oid invalid until then) */
	FmgrInfo	in;
	FmgrInfo	remote_recv;
	FmgrInfo	remote_out;
	bool		cast_looked_up;
	/* from the remote type, between numbers; fn_oid invalid: by way of text */
	FmgrInfo	cast;
} ValueReader;

/*
 * Prepares for values of the remote attribute that go into a local column of
 * type typid, typmod. direct is chosen if the types are the same (built-in: same
 * oid; others: same schema and name) and the local typmod is -1 or equal.
 */
extern void value_reader_init(ValueReader *r, const WireAttribute *remote, Oid typid, int32 typmod);

/*
 * Makes the datum (not for WIRE_NULL, WIRE_UNCHANGED and WIRE_AWAITED), by-reference ones in
 * CurrentMemoryContext and properly aligned. Raises an ordinary data error if
 * the value does not fit the local type, ERRCODE_PROTOCOL_VIOLATION if a length is wrong.
 */
extern Datum value_read(ValueReader *r, const WireColumn *c);

/* The values were written, and checked, by this very server. */
extern void value_reader_trust(ValueReader *r);

/*
 * This server's layout, sent by a subscriber and compared by the provider:
 * major version, byte order, alignment, float and datum sizes, e.g. "15/le/8/8".
 */
extern const char *value_layout(void);

#endif							/* REPLICATION_PLUGIN_VALUE_H */
