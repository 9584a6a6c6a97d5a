/*
 * capture_note.h
 *		Counts what is captured in a transaction, and tells the decoder (wire/note.h).
 */
#ifndef REPLICATION_PLUGIN_CAPTURE_NOTE_H
#define REPLICATION_PLUGIN_CAPTURE_NOTE_H

#include "postgres_ext.h"

/* Adds to the note of the running transaction; what a subtransaction added goes with it. */
extern void capture_note(Oid relid, int64 changes);

/* A TRUNCATE was captured: told at once, before the TRUNCATE itself. */
extern void capture_note_truncate(Oid relid, int64 changes);

/* Once, when the library is loaded with the server. */
extern void capture_note_install(void);

#endif							/* REPLICATION_PLUGIN_CAPTURE_NOTE_H */
