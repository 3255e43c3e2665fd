package main

import (
	"io"
	"log/slog"
)

// quietLevel is for commands that open a store themselves: their messages say
// what matters, and the log only what is wrong.
const quietLevel = slog.LevelWarn

func newLogger(w io.Writer, level slog.Level, asJSON bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
