"""`vervet view`: a local web app over run folders, also while a run is still writing them.

Every page is rendered here and can be read without a script; the script adds live numbers and keys. A sample is hostile
input: every text is escaped (`text`), the policy lets nothing run but our own script file (`guard`), and nothing can be
changed through the app, which knows only GET.

    serve   the socket, the token, the server      guard   who is let in, and what each answer carries
    shelf   the runs that are open, their counts   pages   one function a page      app   routes
"""
