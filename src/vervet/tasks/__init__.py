"""Tasks: data set, prompt, extraction and canonical form, one file a benchmark. Each satisfies `vervet.protocols.Task`."""
