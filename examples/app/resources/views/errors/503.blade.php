@include('errors.page', ['title' => 'Back in a moment', 'text' => 'The application is being maintained.'])
