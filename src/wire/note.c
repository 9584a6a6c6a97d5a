/*
 * note.c
 *		Notes, by which capture tells the decoder of its own server what it has captured.
 */
#include "postgres.h"

#include "libpq/pqformat.h"

#include "wire/note.h"

#define HEAD_BYTES	5
#define NOTE_BYTES	16

void
note_write(StringInfo out, List *notes)
{
	ListCell   *lc;

	pq_sendbyte(out, NOTE_OF_CAPTURE);
	pq_sendint32(out, list_length(notes));
	foreach(lc, notes)
	{
		const CaptureNote *n = lfirst(lc);

		pq_sendint32(out, n->relid);
		pq_sendint64(out, n->changes);
		pq_sendint32(out, n->truncates);
	}
}

List *
note_read(const char *content, Size size)
{
	StringInfoData in = {.data = unconstify(char *, content),
						 .len = (int) size,
						 .maxlen = (int) size,
						 .cursor = 1};
	List	   *notes = NIL;

	if (size < HEAD_BYTES || content[0] != NOTE_OF_CAPTURE ||
		(size - HEAD_BYTES) / NOTE_BYTES != pq_getmsgint(&in, 4))
		return NIL;
	while (in.cursor + NOTE_BYTES <= in.len)
	{
		CaptureNote *note = palloc(sizeof(CaptureNote));

		note->relid = pq_getmsgint(&in, 4);
		note->changes = pq_getmsgint64(&in);
		note->truncates = pq_getmsgint(&in, 4);
		notes = lappend(notes, note);
	}
	return notes;
}
