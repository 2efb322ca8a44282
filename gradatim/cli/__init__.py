"""The command line: one file per command, parsed before anything heavy is imported.

    main        the app, and the console script's entry
    reported    what makes a function a command: --json, the error policy, the exit code
    options     options that several commands share, and an open workspace
    display     progress on stderr
    account     what the ledger and the blobs hold of one step
    approvals   which releases wait for a person
    tables      how a person reads what the commands return
    reference   docs/commands.md, from the app itself

Every other file is a command of that name. A command returns a `Result`: data for programs, and a way to show it.
"""
