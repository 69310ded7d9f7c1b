"""Problems whose unknown is a law: reactions as data, equation error, and what a found law rests on."""
