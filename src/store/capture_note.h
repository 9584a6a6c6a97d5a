/*
 * capture_note.h
 *		Counts the captured changes of a transaction, and reports them to the decoder
 *		(wire/note.h).
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_NOTE_H
#define REPLICATION_PLUGIN_CAPTURE_NOTE_H

#include "postgres_ext.h"

/*
 * Adds changes to the note of the running transaction. A rollback of the current subtransaction
 * discards them.
 */
extern void capture_note(Oid relid, int64 changes);

/* Notes a captured TRUNCATE. The note is written at once, before the TRUNCATE itself. */
extern void capture_note_truncate(Oid relid, int64 changes);

/* Registers the callbacks; called once, when the library is loaded at server start. */
extern void capture_note_install(void);

#endif							/* REPLICATION_PLUGIN_CAPTURE_NOTE_H */
