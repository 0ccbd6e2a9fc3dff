@include('errors.page', ['title' => 'Something broke', 'text' => 'The error was written to the log.'])
