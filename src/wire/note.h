/*
 * note.h
 *		What capture tells the decoder of its own server: by it, decoding sees a change that
 *		escaped.
 *
 * A note is a logical message: 'K', u32 n, n times: u32 relation (a partition by its own number),
 * u64 changes of it that were captured and that decoding could not tell to have been (may be
 * negative), u32 TRUNCATEs. It never leaves the server.
 *
 * Of a plain table the heap's deletes and changes of the key count: each has its tombstone. Of a
 * mergeable one all changes of the heap, less the messages of writes: there are as many, but for
 * those that the note tells of.
 */
#ifndef REPLICATION_PLUGIN_NOTE_H
#define REPLICATION_PLUGIN_NOTE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#define NOTE_OF_CAPTURE	'K'

typedef struct CaptureNote
{
	Oid			relid;
	int64		changes;
	uint32		truncates;
} CaptureNote;

/*
 * Writes notes, a List of CaptureNote *, as the content of one logical message; reads them, NIL if
 * it is none.
 */
extern void note_write(StringInfo out, List *notes);
extern List *note_read(const char *content, Size size);

#endif							/* REPLICATION_PLUGIN_NOTE_H */
