/*
 * note.h
 *		Notes, by which capture tells the decoder of its own server what it has captured. They let
 *		decoding detect a change that escaped capture.
 *
 * A note is a logical message: 'K', u32 n, n times: u32 relation (a partition has its own number),
 * u64 number of its changes that were captured and that decoding could not recognize as captured
 * (may be negative), u32 number of TRUNCATEs. It never leaves the server.
 *
 * For a plain table, the heap's deletes and changes of the key count, because each has its
 * tombstone. For a mergeable table, all changes of the heap count, less the messages of writes:
 * their numbers are equal, except for those in the note.
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
 * Write notes, a List of CaptureNote *, as the content of one logical message, and read them.
 * note_read() returns a palloc'd list; NIL if the message is not a note.
 */
extern void note_write(StringInfo out, List *notes);
extern List *note_read(const char *content, Size size);

#endif							/* REPLICATION_PLUGIN_NOTE_H */
